import { Button, Group, Modal, Text } from "@mantine/core";
import { useBlocker } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";

/** Asks before typed changes are left behind. */
export function LeaveGuard({ when }: { when: boolean }) {
  const { t } = useTranslation();
  const { status, proceed, reset } = useBlocker({
    shouldBlockFn: () => when,
    enableBeforeUnload: () => when,
    withResolver: true,
    disabled: !when,
  });
  return (
    <Modal
      opened={status === "blocked"}
      onClose={() => reset?.()}
      title={t("leave.title")}
      size="sm"
    >
      <Text fz="md">{t("leave.body")}</Text>
      <Group mt="md" gap="xs">
        <Button data-autofocus onClick={() => reset?.()}>
          {t("leave.stay")}
        </Button>
        <Button variant="default" onClick={() => proceed?.()}>
          {t("leave.go")}
        </Button>
      </Group>
    </Modal>
  );
}
