import { useTranslation } from "react-i18next";
import type { Attention } from "@/api/types";
import { AnchorLink } from "@/components/links";
import { ToneIcon } from "@/components/Meaning";
import classes from "./Overview.module.css";

const TONES = { critical: "bad", warning: "warning" } as const;
const ORDER = { critical: 0, warning: 1 } as const;

const KNOWN = [
  "model_unpriced",
  "model_without_target",
  "upstream_without_credential",
  "tenant_near_budget",
  "tenant_over_budget",
  "requests_failing",
] as const;

/** What somebody should look at, worst first; empty means there is nothing. */
export function AttentionList({ items }: { items: Attention[] }) {
  const { t } = useTranslation("overview");
  const sorted = [...items].sort((a, b) => ORDER[a.severity] - ORDER[b.severity]);
  return (
    <section className={classes.panel}>
      <h2 className={classes.panelTitle}>{t("attention.title")}</h2>
      <ul className={classes.attention}>
        {sorted.map((item) => (
          <li key={`${item.code}${item.target_id}`}>
            <Matter item={item} />
          </li>
        ))}
      </ul>
    </section>
  );
}

function Matter({ item }: { item: Attention }) {
  const { t } = useTranslation("overview");
  const known = KNOWN.find((code) => code === item.code);
  return (
    <div className={classes.matter}>
      <ToneIcon tone={TONES[item.severity]} />
      <div>
        {item.target_name ? (
          <>
            <TargetLink item={item} />{" "}
          </>
        ) : null}
        <span>{known ? t(`attention.${known}`) : item.detail}</span>
      </div>
    </div>
  );
}

const LISTS = { model: "/models", tenant: "/tenants", upstream: "/upstreams" } as const;

function TargetLink({ item }: { item: Attention }) {
  const name = <strong>{item.target_name}</strong>;
  const kind = item.target_kind;
  if (!item.target_id || !kind || !(kind in LISTS)) return name;
  return (
    <AnchorLink fz="sm" to={LISTS[kind as keyof typeof LISTS]} search={{ open: item.target_id }}>
      {name}
    </AnchorLink>
  );
}
