import { expect, test } from "vitest";
import { proxyBody, proxyText } from "./proxies";

test("a pool is a list on the wire and one line in the form", () => {
  for (const [proxy, text] of [
    [null, ""],
    ["http://h:1", "http://h:1"],
    [["http://h:1", "socks5://i:2"], "http://h:1, socks5://i:2"],
  ] as const) {
    expect(proxyText(proxy as string | string[] | null)).toBe(text);
    expect(proxyBody(text)).toEqual(proxy);
  }
});
