import { Button, Group, Modal, PasswordInput, Stack, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useTranslation } from "react-i18next";
import { useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { fieldErrors } from "@/api/problem";
import type { Upstream } from "@/api/types";
import { FormFailure } from "@/components/form/FormFailure";
import { proxyBody } from "./proxies";
import { isProxy } from "./upstreamForm";

const EMPTY = { name: "", secret: "", proxy: "" };

export function AddCredential({
  upstream,
  opened,
  onClose,
}: {
  upstream: Upstream;
  opened: boolean;
  onClose: () => void;
}) {
  const { t } = useTranslation(["upstreams", "common"]);
  const changed = useChanged("upstreams");
  const form = useForm({
    initialValues: EMPTY,
    validateInputOnBlur: true,
    validate: {
      name: (value) => (value.trim() ? null : t("common:nameNeeded")),
      secret: (value) => (value.trim() ? null : t("secretNeeded")),
      proxy: (value) => (isProxy(value) ? null : t("proxyRule")),
    },
  });
  const close = () => {
    // The secret does not stay in memory longer than the dialog.
    form.setValues(EMPTY);
    form.clearErrors();
    onClose();
  };
  const add = api.useMutation("post", "/admin/v1/upstreams/{id}/credentials", {
    onSuccess: (credential) => {
      close();
      changed(t("credentialAdded", { name: credential.name }));
    },
    onError: (error) => form.setErrors(fieldErrors(error)),
  });
  return (
    <Modal opened={opened} onClose={close} title={t("addCredential")} size="md">
      <form
        noValidate
        onSubmit={form.onSubmit((values) =>
          add.mutate({
            params: { path: { id: upstream.id } },
            body: {
              name: values.name.trim(),
              secret: values.secret.trim(),
              proxy: proxyBody(values.proxy),
            },
          }),
        )}
      >
        <Stack gap="md">
          <FormFailure error={add.error} />
          <TextInput
            data-autofocus
            label={t("common:name")}
            autoComplete="off"
            {...form.getInputProps("name")}
          />
          <PasswordInput
            label={t("secret")}
            description={t("secretHelp")}
            inputWrapperOrder={["label", "input", "description", "error"]}
            autoComplete="off"
            {...form.getInputProps("secret")}
          />
          <TextInput
            label={t("proxyOwn")}
            placeholder="socks5://user:password@host:1080"
            description={t("proxyOwnHelp")}
            inputWrapperOrder={["label", "input", "description", "error"]}
            autoComplete="off"
            {...form.getInputProps("proxy")}
          />
          <Group gap="xs">
            <Button type="submit" loading={add.isPending}>
              {t("addCredential")}
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
