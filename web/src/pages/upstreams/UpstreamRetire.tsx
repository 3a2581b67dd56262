import { Button, Group, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { ifMatch, useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { useModels } from "@/api/lists";
import type { Upstream } from "@/api/types";
import { ConfirmByName } from "@/components/ConfirmByName";
import { FormFailure } from "@/components/form/FormFailure";
import { FormSection } from "@/components/form/FormPage";

/** Taking an upstream out of service, or away; says which models are served from it. */
export function UpstreamRetire({ upstream }: { upstream: Upstream }) {
  const { t } = useTranslation(["upstreams", "common"]);
  const navigate = useNavigate();
  const [asking, { open, close }] = useDisclosure(false);
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
    <FormSection
      title={t("retire")}
      help={served.length > 0 ? t("serves", { models: served.join(", ") }) : t("servesNothing")}
    >
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
          {t("removeUpstream")}
        </Button>
      </Group>
      <ConfirmByName
        opened={asking}
        title={t("removeAsk", { name: upstream.name })}
        name={upstream.name}
        act={t("removeUpstream")}
        busy={remove.isPending}
        error={remove.error}
        onClose={close}
        onConfirm={() => remove.mutate({ params })}
      >
        <Text fz="md">
          {t("removeEffect", { count: upstream.credentials.length })}{" "}
          {served.length > 0 ? t("serves", { models: served.join(", ") }) : ""}
        </Text>
      </ConfirmByName>
    </FormSection>
  );
}
