import { IconCircle, IconCircleCheckFilled } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { useModels, useVersion } from "@/api/lists";
import type { GettingStarted as Steps } from "@/api/types";
import { ButtonLink } from "@/components/links";
import { Snippets } from "@/components/Snippets";
import classes from "./Overview.module.css";

/** From nothing to the first request, each step ticked as it is done. */
export function GettingStarted({ steps }: { steps: Steps }) {
  const { t } = useTranslation("overview");
  const version = useVersion();
  const models = useModels();
  const list = [
    { key: "upstream", done: steps.has_upstream, to: "/upstreams/new" },
    { key: "model", done: steps.has_model && steps.has_price, to: "/models/new" },
    { key: "tenant", done: steps.has_tenant, to: "/tenants/new" },
    { key: "key", done: steps.has_api_key, to: "/keys/new" },
  ] as const;
  const next = list.find(({ done }) => !done)?.key;
  return (
    <section className={classes.panel}>
      <h2 className={classes.panelTitle}>{t("start.title")}</h2>
      <ol className={classes.steps}>
        {list.map(({ key, done, to }) => (
          <li key={key} className={classes.step}>
            <Tick done={done} />
            <div className={classes.stepWords}>
              <div>{t(`start.${key}.title`)}</div>
              <div className={classes.stepHelp}>{t(`start.${key}.help`)}</div>
            </div>
            {done ? null : (
              <ButtonLink to={to} size="xs" variant={key === next ? "filled" : "default"}>
                {t(`start.${key}.do`)}
              </ButtonLink>
            )}
          </li>
        ))}
        <li className={classes.step}>
          <Tick done={false} />
          <div className={classes.stepWords}>
            <div>{t("start.request.title")}</div>
            <div className={classes.stepHelp}>{t("start.request.help")}</div>
          </div>
        </li>
      </ol>
      <div className={classes.snippet}>
        <Snippets base={version.data?.api_url ?? undefined} model={models.data?.data[0]?.name} />
      </div>
    </section>
  );
}

function Tick({ done }: { done: boolean }) {
  const { t } = useTranslation("overview");
  return done ? (
    <IconCircleCheckFilled size={20} color="var(--tg-good)" aria-label={t("start.done")} />
  ) : (
    <IconCircle
      size={20}
      stroke={1.25}
      color="var(--mantine-color-dimmed)"
      aria-label={t("start.open")}
    />
  );
}
