import { Button, PasswordInput, Stack, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useNavigate } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import { fieldErrors } from "@/api/problem";
import { rememberSession } from "@/api/session";
import { PublicPage } from "@/app/PublicPage";
import { FormFailure } from "@/components/form/FormFailure";
import { ButtonLink } from "@/components/links";
import { Note } from "@/components/Meaning";
import { PageHeader } from "@/components/PageHeader";

const PASSWORD_MIN = 15;

/** The first-run link: `/setup#<one-time token>` makes the owner's account. */
export function SetupPage() {
  const { t } = useTranslation("auth");
  const navigate = useNavigate();
  const [token] = useState(() => window.location.hash.slice(1));
  // The token leaves the address bar, so that it stays out of history and screenshots.
  useEffect(() => {
    window.history.replaceState(window.history.state, "", window.location.pathname);
  }, []);

  const form = useForm({
    mode: "uncontrolled",
    initialValues: { name: "", email: "", password: "" },
    validateInputOnBlur: true,
    validate: {
      name: (value) => (value.trim() ? null : t("nameNeeded")),
      email: (value) => (value.includes("@") ? null : t("emailNeeded")),
      password: (value) =>
        [...value].length >= PASSWORD_MIN ? null : t("passwordShort", { min: PASSWORD_MIN }),
    },
  });
  const setup = api.useMutation("post", "/admin/v1/setup", {
    onSuccess: (session) => {
      rememberSession(session);
      void navigate({ to: "/" });
    },
    onError: (error) => form.setErrors(fieldErrors(error)),
  });

  if (!token) {
    return (
      <PublicPage>
        <PageHeader title={t("setup.title")} />
        <Note tone="info" title={t("setup.noToken")}>
          {t("setup.noTokenHelp")}
        </Note>
        <ButtonLink to="/sign-in" variant="default" fullWidth mt="md">
          {t("signIn.do")}
        </ButtonLink>
      </PublicPage>
    );
  }

  return (
    <PublicPage>
      <PageHeader title={t("setup.title")} purpose={t("setup.purpose")} />
      <form
        noValidate
        onSubmit={form.onSubmit((values) => setup.mutate({ body: { token, ...values } }))}
      >
        <Stack gap="md">
          <FormFailure error={setup.error} />
          <TextInput
            label={t("name")}
            autoComplete="name"
            autoFocus
            key={form.key("name")}
            {...form.getInputProps("name")}
          />
          <TextInput
            label={t("email")}
            type="email"
            autoComplete="username"
            key={form.key("email")}
            {...form.getInputProps("email")}
          />
          <PasswordInput
            label={t("password")}
            description={t("passwordHelp", { min: PASSWORD_MIN })}
            inputWrapperOrder={["label", "input", "description", "error"]}
            autoComplete="new-password"
            key={form.key("password")}
            {...form.getInputProps("password")}
          />
          <Button type="submit" fullWidth loading={setup.isPending}>
            {t("setup.do")}
          </Button>
        </Stack>
      </form>
    </PublicPage>
  );
}
