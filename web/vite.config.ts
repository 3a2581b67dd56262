import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";
import { mockApi } from "./dev/mock/plugin.ts";

/** Where `npm run dev` sends API calls; without it the typed mock in `dev/mock` answers. */
const server = process.env.TALLYGATE_ADMIN_URL;

/** What the server sends with the built files; a page that breaks it must break here first. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
  "connect-src 'self'; font-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

export default defineConfig({
  plugins: [react(), ...(server ? [] : [mockApi()])],
  resolve: { alias: { "@": fileURLToPath(new URL("./src", import.meta.url)) } },
  server: server ? { proxy: { "/admin": { target: server, changeOrigin: false } } } : {},
  preview: { headers: { "content-security-policy": POLICY } },
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 700,
  },
  test: {
    environment: "jsdom",
    include: ["src/**/*.test.{ts,tsx}"],
    setupFiles: ["./src/test-setup.ts"],
  },
});
