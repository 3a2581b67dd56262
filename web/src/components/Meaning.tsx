import {
  IconAlertTriangle,
  IconCircleCheck,
  IconCircleMinus,
  IconCircleX,
  IconInfoCircle,
} from "@tabler/icons-react";
import type { ReactNode } from "react";
import classes from "./Meaning.module.css";

/** The four meanings of a colour, and the absence of one. Each has an icon beside its word. */
export type Tone = "good" | "warning" | "bad" | "info" | "quiet";

const ICONS = {
  good: IconCircleCheck,
  warning: IconAlertTriangle,
  bad: IconCircleX,
  info: IconInfoCircle,
  quiet: IconCircleMinus,
} as const;

export function ToneIcon({ tone, size = 16 }: { tone: Tone; size?: number }) {
  const Icon = ICONS[tone];
  return <Icon size={size} stroke={1.75} className={classes[tone]} aria-hidden />;
}

/** A state in a row: icon and word, no box. */
export function Meaning({ tone, children }: { tone: Tone; children: ReactNode }) {
  return (
    <span className={`${classes.meaning} ${classes[tone]}`}>
      <ToneIcon tone={tone} size={15} />
      {children}
    </span>
  );
}

/** A note above or inside a panel. */
export function Note({
  tone,
  title,
  children,
}: {
  tone: Tone;
  title?: ReactNode;
  children?: ReactNode;
}) {
  return (
    <div className={classes.note} data-tone={tone} role={tone === "bad" ? "alert" : "note"}>
      <ToneIcon tone={tone} size={18} />
      <div className={classes.noteBody}>
        {title ? <div className={classes.noteTitle}>{title}</div> : null}
        {children}
      </div>
    </div>
  );
}
