import { useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { ifMatch, useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { useModels } from "@/api/lists";
import type { Upstream } from "@/api/types";
import { Retire } from "@/components/form/Retire";

/** Taking an upstream out of service, or away; says which models are served from it. */
export function UpstreamRetire({ upstream }: { upstream: Upstream }) {
  const { t } = useTranslation(["upstreams", "common"]);
  const navigate = useNavigate();
  const changed = useChanged("upstreams");
  const models = useModels();
  const served = (models.data?.data ?? [])
    .filter(({ targets }) => targets.some(({ upstream_id }) => upstream_id === upstream.id))
    .map(({ name }) => name);
  const params = { path: { id: upstream.id }, header: ifMatch(upstream.version) };
  const update = api.useMutation("patch", "/admin/v1/upstreams/{id}", {
    onSuccess: () => changed(),
  });
  const remove = api.useMutation("delete", "/admin/v1/upstreams/{id}", {
    onSuccess: () => {
      void navigate({ to: "/upstreams", ignoreBlocker: true }).then(() =>
        changed(t("removed", { name: upstream.name })),
      );
    },
  });
  const next = upstream.status === "active" ? "disabled" : "active";
  return (
    <Retire
      title={t("retire")}
      help={served.length > 0 ? t("serves", { models: served.join(", ") }) : t("servesNothing")}
      name={upstream.name}
      turn={{
        isPending: update.isPending,
        error: update.error,
        label: t(next === "active" ? "enable" : "disable"),
        ask: () => update.mutate({ params, body: { status: next } }),
      }}
      remove={{
        isPending: remove.isPending,
        error: remove.error,
        label: t("removeUpstream"),
        ask: () => remove.mutate({ params }),
      }}
      removeAsk={t("removeAsk", { name: upstream.name })}
    >
      {t("removeEffect", { count: upstream.credentials.length })}{" "}
      {served.length > 0 ? t("serves", { models: served.join(", ") }) : ""}
    </Retire>
  );
}
