import type { ReactNode } from "react";
import { useTranslation } from "react-i18next";
import type { Explanation } from "@/api/types";
import { Facts } from "@/components/DetailDrawer";
import { Note, ToneIcon } from "@/components/Meaning";
import { useLocale } from "@/i18n/useLocale";
import { duration } from "@/lib/numbers";
import { exactTime } from "@/lib/time";
import classes from "./Routes.module.css";

/** Rules tried, arm, affinity, the attempts in order, and what was passed over and why. */
export function Explained({ told }: { told: Explanation }) {
  const { t } = useTranslation(["routes", "common"]);
  const locale = useLocale();
  return (
    <div className={classes.panel}>
      {told.refusal ? (
        <Note tone="bad" title={`${told.refusal.status} ${told.refusal.code}`}>
          {told.refusal.message}
        </Note>
      ) : null}
      <div className={classes.block}>
        <Facts
          rows={[
            [t("explain.model"), told.model ?? told.requested],
            [t("explain.route"), told.route?.name ?? t("explain.ownTargets")],
            ...(told.arm
              ? ([[t("arm"), `${told.arm.name} (${told.arm.by}: ${told.arm.reason})`]] as [
                  string,
                  ReactNode,
                ][])
              : []),
            [
              t("affinity"),
              told.affinity ? `${told.affinity.kind}: ${told.affinity.reason}` : t("common:none"),
            ],
            [t("strategy"), told.strategy],
          ]}
        />
      </div>
      {told.rules.length > 0 ? (
        <Block title={t("explain.rules")}>
          {told.rules.map((rule) => (
            <li key={rule.route.id} className={classes.line}>
              <ToneIcon tone={rule.matched ? "good" : "quiet"} />
              <div>
                <strong>{rule.route.name}</strong>{" "}
                <span className={classes.why}>{rule.reason}</span>
              </div>
            </li>
          ))}
        </Block>
      ) : null}
      {told.steps.length > 0 ? (
        <Block title={t("explain.steps")}>
          {told.steps.map((step, index) => (
            <li key={`${step.target}${step.credential}`} className={classes.line}>
              <span className={classes.number2}>{index + 1}.</span>
              <div>
                <strong>{step.upstream_name}</strong> {step.upstream_model}
                {step.credential_name ? ` · ${step.credential_name}` : ""}
                {step.latency_ms === null ? "" : ` · ${duration(step.latency_ms)}`}
                <div className={classes.why}>{step.reason}</div>
              </div>
            </li>
          ))}
        </Block>
      ) : null}
      {told.passed_over.length > 0 ? (
        <Block title={t("explain.over")}>
          {told.passed_over.map((over) => (
            <li key={`${over.target}${over.credential}${over.why}`} className={classes.line}>
              <ToneIcon tone="warning" />
              <div>
                <strong>{over.upstream_name}</strong> {over.upstream_model}
                {over.credential_name ? ` · ${over.credential_name}` : ""}
                <div className={classes.why}>
                  {over.reason}
                  {over.until ? ` · ${t("until", { time: exactTime(over.until, locale) })}` : ""}
                </div>
              </div>
            </li>
          ))}
        </Block>
      ) : null}
    </div>
  );
}

function Block({ title, children }: { title: string; children: ReactNode }) {
  return (
    <div className={classes.block}>
      <h3 className={classes.blockTitle}>{title}</h3>
      <ul className={classes.lines}>{children}</ul>
    </div>
  );
}
