import { useTranslation } from "react-i18next";

/** The language numbers, money and dates are written in. */
export function useLocale(): string {
  return useTranslation().i18n.language;
}
