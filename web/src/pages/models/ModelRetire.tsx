import { useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { ifMatch, useChanged } from "@/api/changes";
import { api } from "@/api/client";
import type { Model } from "@/api/types";
import { Retire } from "@/components/form/Retire";

export function ModelRetire({ model }: { model: Model }) {
  const { t } = useTranslation(["models", "common"]);
  const navigate = useNavigate();
  const changed = useChanged("models");
  const params = { path: { id: model.id }, header: ifMatch(model.version) };
  const update = api.useMutation("patch", "/admin/v1/models/{id}", { onSuccess: () => changed() });
  const remove = api.useMutation("delete", "/admin/v1/models/{id}", {
    onSuccess: () => {
      void navigate({ to: "/models", ignoreBlocker: true }).then(() =>
        changed(t("removed", { name: model.name })),
      );
    },
  });
  const next = model.status === "active" ? "disabled" : "active";
  return (
    <Retire
      title={t("retire")}
      help={t("retireHelp")}
      name={model.name}
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
      removeAsk={t("removeAsk", { name: model.name })}
    >
      {t("removeEffect")}
    </Retire>
  );
}
