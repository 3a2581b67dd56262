import { Button, Group, Modal, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { useChanged } from "@/api/changes";
import { api } from "@/api/client";
import type { LiveRequest } from "@/api/types";
import { FormFailure } from "@/components/form/FormFailure";

/** Asks once more: the client is told that its answer was ended. */
export function CancelRequest({
  request,
  onClose,
}: {
  request: LiveRequest | undefined;
  onClose: () => void;
}) {
  const { t } = useTranslation(["live", "common"]);
  const changed = useChanged("in-flight");
  const cancel = api.useMutation("delete", "/admin/v1/in-flight/{request_id}", {
    onSuccess: () => {
      onClose();
      changed(t("cancelled"));
    },
  });
  return (
    <Modal opened={request !== undefined} onClose={onClose} title={t("cancelAsk")}>
      <Text fz="md">
        {t("cancelEffect", { tenant: request?.tenant_name, model: request?.model })}
      </Text>
      <FormFailure error={cancel.error} />
      <Group gap="xs" mt="md">
        <Button
          color="red"
          loading={cancel.isPending}
          onClick={() =>
            request && cancel.mutate({ params: { path: { request_id: request.request_id } } })
          }
        >
          {t("cancelDo")}
        </Button>
        <Button variant="default" onClick={onClose}>
          {t("common:close")}
        </Button>
      </Group>
    </Modal>
  );
}
