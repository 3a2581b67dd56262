import { useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { ifMatch, useChanged } from "@/api/changes";
import { api } from "@/api/client";
import type { Route } from "@/api/types";
import { Retire } from "@/components/form/Retire";

export function RouteRetire({ route }: { route: Route }) {
  const { t } = useTranslation(["routes", "common"]);
  const navigate = useNavigate();
  const changed = useChanged("routes");
  const params = { path: { id: route.id }, header: ifMatch(route.version) };
  const update = api.useMutation("patch", "/admin/v1/routes/{id}", { onSuccess: () => changed() });
  const remove = api.useMutation("delete", "/admin/v1/routes/{id}", {
    onSuccess: () => {
      void navigate({ to: "/routes", ignoreBlocker: true }).then(() =>
        changed(t("removed", { name: route.name })),
      );
    },
  });
  const next = route.status === "active" ? "disabled" : "active";
  return (
    <Retire
      title={t("retire")}
      help={t("retireHelp")}
      name={route.name}
      turn={{
        isPending: update.isPending,
        error: update.error,
        label: t(next === "active" ? "enable" : "disable"),
        ask: () => update.mutate({ params, body: { status: next } }),
      }}
      remove={{
        isPending: remove.isPending,
        error: remove.error,
        label: t("remove"),
        ask: () => remove.mutate({ params }),
      }}
      removeAsk={t("removeAsk", { name: route.name })}
    >
      {t("removeEffect")}
    </Retire>
  );
}
