export function ModelEditPage() {
  return null;
}
