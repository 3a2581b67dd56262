import { Tooltip, UnstyledButton } from "@mantine/core";
import { useTranslation } from "react-i18next";
import classes from "./Id.module.css";
import { useCopy } from "./useCopy";

const HEAD = 4;
const TAIL = 6;

/** `ten_0199…4be1f2`: enough to recognise, all of it one click away. */
function shorten(id: string): string {
  const at = id.indexOf("_");
  if (at < 0 || id.length - at < HEAD + TAIL + 3) return id;
  return `${id.slice(0, at + 1 + HEAD)}…${id.slice(-TAIL)}`;
}

export function Id({ value, full = false }: { value: string; full?: boolean }) {
  const { t } = useTranslation();
  const [copied, copy] = useCopy();
  return (
    <Tooltip label={copied ? t("copied") : t("copyWhole", { text: value })} multiline maw={420}>
      <UnstyledButton
        className={classes.id}
        data-copied={copied || undefined}
        aria-label={t("copyWhole", { text: value })}
        onClick={(event) => {
          event.stopPropagation();
          copy(value);
        }}
      >
        {full ? value : shorten(value)}
      </UnstyledButton>
    </Tooltip>
  );
}
