import { useTranslation } from "react-i18next";
import type { Outcome } from "@/api/types";
import { Meaning } from "@/components/Meaning";
import { OUTCOME_TONES } from "./outcome";

/** The status the client got, and what it means. */
export function OutcomeText({ outcome, status }: { outcome: Outcome; status?: number }) {
  const { t } = useTranslation(["requests", "common"]);
  return (
    <Meaning tone={OUTCOME_TONES[outcome]}>
      {status ? `${status} ` : ""}
      {t(`outcome.${outcome}`)}
    </Meaning>
  );
}
