export function BillsPage() {
  return null;
}
