export function KeyNewPage() {
  return null;
}
