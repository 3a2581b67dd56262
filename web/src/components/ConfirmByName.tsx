import { Button, Group, Modal, Stack, TextInput } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { useTranslation } from "react-i18next";
import { FormFailure } from "./form/FormFailure";

/** A dangerous act: says what it will touch, and asks for the name typed. */
export function ConfirmByName({
  opened,
  title,
  name,
  act,
  busy,
  error,
  children,
  onConfirm,
  onClose,
}: {
  opened: boolean;
  title: string;
  name: string;
  act: string;
  busy: boolean;
  error?: unknown;
  children: ReactNode;
  onConfirm: () => void;
  onClose: () => void;
}) {
  const { t } = useTranslation();
  const [typed, setTyped] = useState("");
  const close = () => {
    setTyped("");
    onClose();
  };
  return (
    <Modal opened={opened} onClose={close} title={title}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (typed === name) onConfirm();
        }}
      >
        <Stack gap="md">
          <div>{children}</div>
          <FormFailure error={error} />
          <TextInput
            data-autofocus
            label={t("confirm.type", { name })}
            value={typed}
            autoComplete="off"
            spellCheck={false}
            onChange={(event) => setTyped(event.currentTarget.value)}
          />
          <Group gap="xs">
            <Button type="submit" color="red" disabled={typed !== name} loading={busy}>
              {act}
            </Button>
            <Button variant="default" onClick={close}>
              {t("cancel")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
