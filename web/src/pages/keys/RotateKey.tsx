import { Button, Group, Modal, Select, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { ifMatch, useChanged } from "@/api/changes";
import { api } from "@/api/client";
import type { ApiKey } from "@/api/types";
import { FormFailure } from "@/components/form/FormFailure";
import { SecretShown } from "./SecretShown";

const OVERLAPS = ["0", "3600", "86400", "604800", "2592000"] as const;

/** Another secret for a key, while the one before stays good for the overlap. */
export function RotateKey({ apiKey, onClose }: { apiKey: ApiKey; onClose: () => void }) {
  const { t } = useTranslation(["keys", "common"]);
  const [overlap, setOverlap] = useState<(typeof OVERLAPS)[number]>("3600");
  const changed = useChanged("api-keys");
  const rotate = api.useMutation("post", "/admin/v1/api-keys/{id}:rotate", {
    onSuccess: () => changed(t("rotate.done", { name: apiKey.name })),
  });
  const made = rotate.data;
  return (
    <Modal
      opened
      onClose={onClose}
      title={t("rotate.title", { name: apiKey.name })}
      size="lg"
      // Closed by a stray click, the secret would be gone.
      closeOnClickOutside={!made}
    >
      {made ? (
        <Stack gap="md">
          <SecretShown made={made} />
          <Group gap="xs">
            <Button variant="default" onClick={onClose}>
              {t("shown.done")}
            </Button>
            <Text fz="sm" c="dimmed">
              {t("shown.doneHelp")}
            </Text>
          </Group>
        </Stack>
      ) : (
        <Stack gap="md">
          <Text fz="md">{t("rotate.help")}</Text>
          <FormFailure error={rotate.error} />
          <Select
            data-autofocus
            label={t("rotate.overlap")}
            description={t("rotate.overlapHelp")}
            inputWrapperOrder={["label", "input", "description", "error"]}
            data={OVERLAPS.map((value) => ({ value, label: t(`rotate.overlaps.${value}`) }))}
            allowDeselect={false}
            value={overlap}
            onChange={(value) => setOverlap(OVERLAPS.find((one) => one === value) ?? "3600")}
          />
          <Group gap="xs">
            <Button
              loading={rotate.isPending}
              onClick={() =>
                rotate.mutate({
                  params: { path: { id: apiKey.id }, header: ifMatch(apiKey.version) },
                  body: { overlap_seconds: Number(overlap) },
                })
              }
            >
              {t("rotate.act")}
            </Button>
            <Button variant="default" onClick={onClose}>
              {t("common:cancel")}
            </Button>
          </Group>
        </Stack>
      )}
    </Modal>
  );
}
