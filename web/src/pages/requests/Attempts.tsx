import { useTranslation } from "react-i18next";
import type { RequestDetail } from "@/api/types";
import { Id } from "@/components/Id";
import { ToneIcon } from "@/components/Meaning";
import { duration } from "@/lib/numbers";
import classes from "./Attempts.module.css";

const MICROS = 1_000;

/** Which upstreams were tried, in order, and how each answered. */
export function Attempts({ attempts }: { attempts: RequestDetail["attempts_detail"] }) {
  const { t } = useTranslation(["requests", "common"]);
  if (attempts.length === 0) return <p className={classes.none}>{t("noAttempt")}</p>;
  return (
    <ol className={classes.list}>
      {attempts.map((attempt) => (
        <li key={`${attempt.started_at}${attempt.upstream}`} className={classes.attempt}>
          <ToneIcon tone={attempt.outcome === "ok" ? "good" : "bad"} />
          <div className={classes.body}>
            <div className={classes.line}>
              <strong>{attempt.upstream}</strong>
              <span>{[attempt.status, attempt.outcome].filter(Boolean).join(" ")}</span>
              <span className={classes.time}>{duration(attempt.duration_us / MICROS)}</span>
            </div>
            {attempt.reason ? <div className={classes.reason}>{attempt.reason}</div> : null}
            {attempt.credential_id ? <Id value={attempt.credential_id} /> : null}
          </div>
        </li>
      ))}
    </ol>
  );
}
