import { useTranslation } from "react-i18next";
import { useMay } from "@/api/session";
import type { Leader, Overview } from "@/api/types";
import { AnchorLink } from "@/components/links";
import { MiniTable } from "@/components/MiniTable";
import { useLocale } from "@/i18n/useLocale";
import { formatMoney } from "@/lib/money";
import { compact, percent } from "@/lib/numbers";
import type { RangeName } from "@/lib/ranges";
import classes from "./Overview.module.css";

/** Who and what leads the window, by requests. */
export function Leaders({ overview, range }: { overview: Overview; range: RangeName }) {
  const { t } = useTranslation("overview");
  return (
    <div className={classes.panels}>
      <LeaderTable
        title={t("topModels")}
        leaders={overview.top_models}
        search={({ group }) => ({ range, model: group })}
      />
      <LeaderTable
        title={t("topTenants")}
        leaders={overview.top_tenants}
        search={({ group }) => ({ range, tenant: group })}
      />
    </div>
  );
}

function LeaderTable({
  title,
  leaders,
  search,
}: {
  title: string;
  leaders: Leader[];
  search: (leader: Leader) => { range: RangeName; model?: string; tenant?: string };
}) {
  const { t } = useTranslation("overview");
  const locale = useLocale();
  const may = useMay();
  const money = may("money.read");
  return (
    <section className={classes.panel}>
      <h2 className={classes.panelTitle}>{title}</h2>
      <MiniTable
        label={title}
        head={[
          t("name"),
          t("requests"),
          t("failedShort"),
          t("tokens"),
          ...(money ? [t("charged")] : []),
        ]}
        rows={leaders.map((leader) => ({
          key: leader.group,
          cells: [
            <AnchorLink key="n" fz="sm" to="/requests" search={search(leader)}>
              {leader.name}
            </AnchorLink>,
            compact(leader.requests, locale),
            leader.requests === 0 ? "–" : percent(leader.errors / leader.requests, locale),
            compact(leader.input_tokens + leader.output_tokens, locale),
            ...(money
              ? [leader.charges.map((sum) => formatMoney(sum, locale)).join(" + ") || "–"]
              : []),
          ],
        }))}
      />
    </section>
  );
}
