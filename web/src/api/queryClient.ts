import { QueryCache, QueryClient } from "@tanstack/react-query";
import { ApiError } from "./problem";

const FRESH_MS = 10_000;
const RETRIES = 1;

/** Only what may pass by itself is asked again: no answer, and the server's own trouble. */
function shouldRetry(failures: number, error: unknown): boolean {
  if (failures >= RETRIES) return false;
  return error instanceof ApiError && (error.status === 0 || error.status === 503);
}

let signedOut: () => void = () => undefined;

/** What to do when a call says that nobody is signed in any more. */
export function onSignedOut(act: () => void) {
  signedOut = act;
}

export const queryClient = new QueryClient({
  queryCache: new QueryCache({
    onError: (error) => {
      if (error instanceof ApiError && error.status === 401) signedOut();
    },
  }),
  defaultOptions: {
    queries: { staleTime: FRESH_MS, retry: shouldRetry, refetchOnWindowFocus: true },
    mutations: { retry: false },
  },
});
