import { Button, Group, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { ifMatch, useChanged } from "@/api/changes";
import { api } from "@/api/client";
import type { Route } from "@/api/types";
import { ConfirmByName } from "@/components/ConfirmByName";
import { FormFailure } from "@/components/form/FormFailure";
import { FormSection } from "@/components/form/FormPage";

export function RouteRetire({ route }: { route: Route }) {
  const { t } = useTranslation(["routes", "common"]);
  const navigate = useNavigate();
  const [asking, { open, close }] = useDisclosure(false);
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
    <FormSection title={t("retire")} help={t("retireHelp")}>
      <FormFailure error={update.error} />
      <Group gap="xs">
        <Button
          variant="default"
          loading={update.isPending}
          onClick={() => update.mutate({ params, body: { status: next } })}
        >
          {t(next === "active" ? "enable" : "disable")}
        </Button>
        <Button variant="light" color="red" onClick={open}>
          {t("remove")}
        </Button>
      </Group>
      <ConfirmByName
        opened={asking}
        title={t("removeAsk", { name: route.name })}
        name={route.name}
        act={t("remove")}
        busy={remove.isPending}
        error={remove.error}
        onClose={close}
        onConfirm={() => remove.mutate({ params })}
      >
        <Text fz="md">{t("removeEffect")}</Text>
      </ConfirmByName>
    </FormSection>
  );
}
