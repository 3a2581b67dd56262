import { useCallback } from "react";
import { useTranslation } from "react-i18next";
import { ApiError } from "@/api/problem";

/**
 * The words for a failure in the reader's language. The server's `code` is stable and translated
 * where we know it; its English `detail` says the particulars and stands in where we do not.
 */
export function useErrorWords() {
  const { t, i18n } = useTranslation("errors");
  return useCallback(
    (error: unknown): { title: string; advice: string } => {
      if (!(error instanceof ApiError)) {
        return {
          title: t("page.title"),
          advice: error instanceof Error ? error.message : String(error),
        };
      }
      const title = t("failed", { status: error.status === 0 ? t("noAnswer") : error.status });
      const key = `code.${error.code}`;
      const known = i18n.exists(`errors:${key}`) ? t(key as "code.unreachable") : null;
      const detail = error.problem?.detail;
      const precise = error.problem?.errors?.length ? detail : null;
      return { title, advice: precise ?? known ?? detail ?? t("code.unexpected_answer") };
    },
    [t, i18n],
  );
}
