export function UpstreamNewPage() {
  return null;
}
