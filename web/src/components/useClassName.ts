import { useCallback } from "react";
import { useTranslation } from "react-i18next";
import type { Usage } from "@/api/types";

export const USAGE_CLASSES = [
  "input_uncached",
  "input_cache_read",
  "input_cache_write_5m",
  "input_cache_write_1h",
  "output_text",
  "output_reasoning",
  "input_image",
  "input_audio",
  "input_audio_cached",
  "input_video",
  "output_image",
  "output_audio",
] as const satisfies readonly (keyof Usage)[];

/** The name of a token class; one that this page does not know yet is shown as the server says it. */
export function useClassName(): (name: string) => string {
  const { t } = useTranslation("common");
  return useCallback(
    (name) => {
      const known = USAGE_CLASSES.find((candidate) => candidate === name);
      return known ? t(`usageClass.${known}`) : name;
    },
    [t],
  );
}
