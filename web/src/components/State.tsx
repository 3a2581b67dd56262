import { useTranslation } from "react-i18next";
import { Meaning, type Tone } from "./Meaning";

const TONES = {
  active: "good",
  suspended: "warning",
  disabled: "quiet",
  revoked: "quiet",
  expired: "warning",
  archived: "quiet",
} as const satisfies Record<string, Tone>;

/** The state of a tenant, key, upstream, credential or model. */
export function State({ value }: { value: keyof typeof TONES }) {
  const { t } = useTranslation();
  return <Meaning tone={TONES[value]}>{t(`state.${value}`)}</Meaning>;
}
