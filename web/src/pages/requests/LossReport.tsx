import { Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { Note } from "@/components/Meaning";
import classes from "./Attempts.module.css";

/** `a=dropped; b=approximated`: what the other dialect could not say. */
function items(loss: string): string[] {
  return loss
    .split(/;\s*/)
    .map((item) => item.trim())
    .filter(Boolean);
}

export function LossReport({ loss }: { loss: string | null }) {
  const { t } = useTranslation(["requests", "common"]);
  if (!loss) {
    return (
      <Text fz="sm" c="dimmed">
        {t("loss.none")}
      </Text>
    );
  }
  return (
    <Note tone="warning" title={t("loss.some", { count: items(loss).length })}>
      <ul className={classes.list}>
        {items(loss).map((item) => (
          <li key={item} className="tg-mono">
            {item}
          </li>
        ))}
      </ul>
    </Note>
  );
}
