import { useTranslation } from "react-i18next";
import { Note } from "./Meaning";

/** What the configuration file declares is read-only here, and says so. */
export function ManagedNote({ by }: { by: "api" | "file" }) {
  const { t } = useTranslation();
  return by === "file" ? <Note tone="info">{t("managedByFile")}</Note> : null;
}
