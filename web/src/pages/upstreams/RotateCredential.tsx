import { Button, Group, Modal, PasswordInput, Select, Stack } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useTranslation } from "react-i18next";
import { useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { fieldErrors } from "@/api/problem";
import type { Credential } from "@/api/types";
import { FormFailure } from "@/components/form/FormFailure";

const OVERLAPS = ["0", "300", "3600", "86400"] as const;
const EMPTY = { secret: "", overlap: "3600" };

/** A new secret beside the old one, which retires after the overlap. */
export function RotateCredential({
  credential,
  opened,
  onClose,
}: {
  credential: Credential;
  opened: boolean;
  onClose: () => void;
}) {
  const { t } = useTranslation(["upstreams", "common"]);
  const changed = useChanged("upstreams");
  const form = useForm({
    initialValues: EMPTY,
    validate: { secret: (value) => (value.trim() ? null : t("secretNeeded")) },
  });
  const close = () => {
    // The secret does not stay in memory longer than the dialog.
    form.setValues(EMPTY);
    form.clearErrors();
    onClose();
  };
  const rotate = api.useMutation("post", "/admin/v1/credentials/{id}/rotate", {
    onSuccess: (successor) => {
      close();
      changed(t("rotate.done", { name: successor.name }));
    },
    onError: (error) => form.setErrors(fieldErrors(error)),
  });
  return (
    <Modal
      opened={opened}
      onClose={close}
      title={t("rotate.title", { name: credential.name })}
      size="md"
    >
      <form
        noValidate
        onSubmit={form.onSubmit(({ secret, overlap }) =>
          rotate.mutate({
            params: { path: { id: credential.id } },
            body: { secret: secret.trim(), overlap_seconds: Number(overlap) },
          }),
        )}
      >
        <Stack gap="md">
          <FormFailure error={rotate.error} />
          <PasswordInput
            data-autofocus
            label={t("rotate.secret")}
            description={t("rotate.help")}
            inputWrapperOrder={["label", "input", "description", "error"]}
            autoComplete="off"
            {...form.getInputProps("secret")}
          />
          <Select
            label={t("rotate.overlap")}
            data={OVERLAPS.map((value) => ({ value, label: t(`rotate.overlaps.${value}`) }))}
            allowDeselect={false}
            {...form.getInputProps("overlap")}
          />
          <Group gap="xs">
            <Button type="submit" loading={rotate.isPending}>
              {t("rotate.act")}
            </Button>
            <Button variant="default" onClick={close}>
              {t("common:cancel")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
