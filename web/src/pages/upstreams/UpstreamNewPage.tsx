import { PasswordInput, Select, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { fieldErrors } from "@/api/problem";
import type { Dialect } from "@/api/types";
import { FormPage, FormSection } from "@/components/form/FormPage";
import { proxyBody } from "./proxies";
import { DIALECTS, isHttpUrl, isProxy, NAME, USUAL_URL } from "./upstreamForm";

const HELP_BELOW: ("label" | "input" | "description" | "error")[] = [
  "label",
  "input",
  "description",
  "error",
];

export function UpstreamNewPage() {
  const { t } = useTranslation(["upstreams", "common"]);
  const navigate = useNavigate();
  const changed = useChanged("upstreams");
  const form = useForm({
    initialValues: {
      name: "",
      dialect: "openai-chat" as Dialect,
      base_url: USUAL_URL["openai-chat"],
      proxy: "",
      credentials: [{ name: "default", secret: "" }],
    },
    validateInputOnBlur: true,
    validate: {
      name: (value) => (NAME.test(value.trim()) ? null : t("nameRule")),
      base_url: (value) => (isHttpUrl(value) ? null : t("urlRule")),
      proxy: (value) => (isProxy(value) ? null : t("proxyRule")),
    },
  });
  const create = api.useMutation("post", "/admin/v1/upstreams", {
    onSuccess: (upstream) => {
      changed(t("created", { name: upstream.name }));
      form.resetDirty();
      void navigate({ to: "/upstreams", search: { open: upstream.id }, ignoreBlocker: true });
    },
    onError: (error) => form.setErrors(fieldErrors(error)),
  });

  const chooseDialect = (dialect: string | null) => {
    const chosen = DIALECTS.find((known) => known === dialect);
    if (!chosen) return;
    const untouched = Object.values(USUAL_URL).includes(form.values.base_url);
    form.setFieldValue("dialect", chosen);
    if (untouched) form.setFieldValue("base_url", USUAL_URL[chosen]);
  };

  return (
    <FormPage
      title={t("create")}
      purpose={t("createPurpose")}
      back={{ to: "/upstreams", name: t("title") }}
      submit={t("create")}
      error={create.error}
      saving={create.isPending}
      dirty={form.isDirty()}
      onSubmit={form.onSubmit((values) =>
        create.mutate({
          body: {
            name: values.name.trim(),
            dialect: values.dialect,
            base_url: values.base_url.trim(),
            proxy: proxyBody(values.proxy),
            credentials: values.credentials
              .filter(({ secret }) => secret.trim())
              .map(({ name, secret }) => ({ name: name.trim(), secret: secret.trim() })),
          },
        }),
      )}
    >
      <FormSection title={t("about")}>
        <Select
          label={t("dialect")}
          description={t("dialectHelp")}
          inputWrapperOrder={HELP_BELOW}
          data={DIALECTS.map((value) => ({ value, label: t(`common:dialect.${value}`) }))}
          allowDeselect={false}
          value={form.values.dialect}
          onChange={chooseDialect}
        />
        <TextInput
          label={t("common:name")}
          description={t("nameHelp")}
          inputWrapperOrder={HELP_BELOW}
          placeholder="openai-main"
          autoComplete="off"
          {...form.getInputProps("name")}
        />
        <TextInput
          label={t("baseUrl")}
          description={t("urlHelp")}
          inputWrapperOrder={HELP_BELOW}
          type="url"
          spellCheck={false}
          {...form.getInputProps("base_url")}
        />
        <TextInput
          label={t("proxy")}
          description={t("proxyHelp")}
          inputWrapperOrder={HELP_BELOW}
          placeholder="socks5://user:password@host:1080"
          spellCheck={false}
          autoComplete="off"
          {...form.getInputProps("proxy")}
        />
      </FormSection>
      <FormSection title={t("firstCredential")} help={t("firstCredentialHelp")}>
        <TextInput
          label={t("common:name")}
          autoComplete="off"
          {...form.getInputProps("credentials.0.name")}
        />
        <PasswordInput
          label={t("secret")}
          description={t("secretHelp")}
          inputWrapperOrder={HELP_BELOW}
          autoComplete="off"
          {...form.getInputProps("credentials.0.secret")}
        />
      </FormSection>
    </FormPage>
  );
}
