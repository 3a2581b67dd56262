import { useForm } from "@mantine/form";
import { useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { fieldErrors } from "@/api/problem";
import { FormPage } from "@/components/form/FormPage";
import { RouteFields } from "./RouteFields";
import { routeBody, routeValues } from "./routeForm";
import { routeRules } from "./routeRules";

export function RouteNewPage() {
  const { t } = useTranslation(["routes", "common"]);
  const navigate = useNavigate();
  const changed = useChanged("routes");
  const form = useForm({
    initialValues: routeValues(),
    validateInputOnBlur: true,
    validate: routeRules(t),
  });
  const create = api.useMutation("post", "/admin/v1/routes", {
    onSuccess: (route) => {
      changed(t("created", { name: route.name }));
      form.resetDirty();
      void navigate({ to: "/routes", search: { open: route.id }, ignoreBlocker: true });
    },
    onError: (error) => form.setErrors(fieldErrors(error)),
  });
  return (
    <FormPage
      title={t("create")}
      purpose={t("createPurpose")}
      back={{ to: "/routes", name: t("title") }}
      submit={t("create")}
      error={create.error}
      saving={create.isPending}
      dirty={form.isDirty()}
      onSubmit={form.onSubmit((values) => create.mutate({ body: routeBody(values) }))}
    >
      <RouteFields form={form} />
    </FormPage>
  );
}
