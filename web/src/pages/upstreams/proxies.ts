import type { Upstream } from "@/api/types";

type Proxies = Upstream["proxy"];

/** The proxies as one line of text: tried in turn, so in order. */
export function proxyText(proxy: Proxies): string {
  if (proxy === null) return "";
  return typeof proxy === "string" ? proxy : proxy.join(", ");
}

/** What was typed, as the server takes it. */
export function proxyBody(text: string): Proxies {
  const urls = text.split(/[\s,]+/).filter(Boolean);
  return urls.length > 1 ? urls : (urls[0] ?? null);
}
