export function ModelNewPage() {
  return null;
}
