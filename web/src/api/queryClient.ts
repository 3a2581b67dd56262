import { QueryClient } from "@tanstack/react-query";
import { ApiError } from "./problem";

const FRESH_MS = 10_000;
const RETRIES = 2;

/** Only what may pass by itself is asked again: no answer, and the server's own trouble. */
function shouldRetry(failures: number, error: unknown): boolean {
  if (failures >= RETRIES) return false;
  return error instanceof ApiError && (error.status === 0 || error.status === 503);
}

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: { staleTime: FRESH_MS, retry: shouldRetry, refetchOnWindowFocus: true },
    mutations: { retry: false },
  },
});
