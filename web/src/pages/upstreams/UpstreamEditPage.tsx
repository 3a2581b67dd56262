export function UpstreamEditPage() {
  return null;
}
