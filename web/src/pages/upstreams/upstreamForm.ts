import type { Dialect } from "@/api/types";

export const DIALECTS = [
  "openai-chat",
  "openai-responses",
  "anthropic",
  "gemini",
] as const satisfies readonly Dialect[];

/** Where each provider itself answers; an address of one's own replaces it. */
export const USUAL_URL: Record<Dialect, string> = {
  "openai-chat": "https://api.openai.com/v1",
  "openai-responses": "https://api.openai.com/v1",
  anthropic: "https://api.anthropic.com",
  gemini: "https://generativelanguage.googleapis.com",
};

export const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const PROXY_SCHEMES = ["http:", "https:", "socks5:", "socks5h:"];

export function isHttpUrl(text: string): boolean {
  return URL.canParse(text.trim()) && /^https?:$/.test(new URL(text.trim()).protocol);
}

/** Nothing, or addresses of a kind the gateway can go through. */
export function isProxy(text: string): boolean {
  const urls = text.split(/[\s,]+/).filter(Boolean);
  return urls.every((url) => URL.canParse(url) && PROXY_SCHEMES.includes(new URL(url).protocol));
}
