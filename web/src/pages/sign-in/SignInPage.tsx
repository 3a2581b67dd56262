import { Button, PasswordInput, Stack, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { getRouteApi, useRouter } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import { rememberSession } from "@/api/session";
import { PublicPage } from "@/app/PublicPage";
import { FormFailure } from "@/components/form/FormFailure";
import { Note } from "@/components/Meaning";
import { PageHeader } from "@/components/PageHeader";

const route = getRouteApi("/sign-in");

export function SignInPage() {
  const { t } = useTranslation("auth");
  const { next } = route.useSearch();
  const router = useRouter();
  const setup = api.useQuery("get", "/admin/v1/setup", {}, { retry: false });
  const form = useForm({
    mode: "uncontrolled",
    initialValues: { email: "", password: "" },
    validate: {
      email: (value) => (value.includes("@") ? null : t("emailNeeded")),
      password: (value) => (value ? null : t("passwordNeeded")),
    },
    validateInputOnBlur: true,
  });
  const signIn = api.useMutation("post", "/admin/v1/session", {
    onSuccess: (session) => {
      rememberSession(session);
      router.history.push(next?.startsWith("/") && !next.startsWith("//") ? next : "/");
    },
  });

  return (
    <PublicPage>
      <PageHeader title={t("signIn.title")} purpose={t("signIn.purpose")} />
      <form noValidate onSubmit={form.onSubmit((body) => signIn.mutate({ body }))}>
        <Stack gap="md">
          {setup.data?.needed ? (
            <Note tone="info" title={t("signIn.nobody")}>
              {t("setup.noTokenHelp")}
            </Note>
          ) : null}
          <FormFailure error={signIn.error} />
          <TextInput
            label={t("email")}
            type="email"
            autoComplete="username"
            data-autofocus
            autoFocus
            key={form.key("email")}
            {...form.getInputProps("email")}
          />
          <PasswordInput
            label={t("password")}
            autoComplete="current-password"
            key={form.key("password")}
            {...form.getInputProps("password")}
          />
          <Button type="submit" fullWidth loading={signIn.isPending}>
            {t("signIn.do")}
          </Button>
        </Stack>
      </form>
    </PublicPage>
  );
}
