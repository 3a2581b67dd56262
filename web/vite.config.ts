import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";
import { mockApi } from "./dev/mock/plugin.ts";

/** Where `npm run dev` sends API calls; without it the typed mock in `dev/mock` answers. */
const server = process.env.TALLYGATE_ADMIN_URL;

export default defineConfig({
  plugins: [react(), ...(server ? [] : [mockApi()])],
  resolve: { alias: { "@": fileURLToPath(new URL("./src", import.meta.url)) } },
  server: server ? { proxy: { "/admin": { target: server, changeOrigin: false } } } : {},
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
