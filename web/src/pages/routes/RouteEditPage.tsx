import { Skeleton } from "@mantine/core";
import { useForm } from "@mantine/form";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { ifMatch, useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { fieldErrors } from "@/api/problem";
import type { Route } from "@/api/types";
import { ErrorState } from "@/components/ErrorState";
import { FormPage } from "@/components/form/FormPage";
import { RouteFields } from "./RouteFields";
import { RouteRetire } from "./RouteRetire";
import { routeBody, routeValues } from "./routeForm";
import { routeRules } from "./routeRules";

const here = getRouteApi("/app/routes/$id");

export function RouteEditPage() {
  const { id } = here.useParams();
  const route = api.useQuery(
    "get",
    "/admin/v1/routes/{id}",
    { params: { path: { id } } },
    { refetchOnWindowFocus: false },
  );
  if (route.error) return <ErrorState error={route.error} onRetry={() => void route.refetch()} />;
  if (!route.data) return <Skeleton height={420} maw={680} mx="auto" />;
  return (
    <RouteEdit key={route.data.version} route={route.data} onReload={() => void route.refetch()} />
  );
}

function RouteEdit({ route, onReload }: { route: Route; onReload: () => void }) {
  const { t } = useTranslation(["routes", "common"]);
  const navigate = useNavigate();
  const changed = useChanged("routes");
  const form = useForm({
    initialValues: routeValues(route),
    validateInputOnBlur: true,
    validate: routeRules(t),
  });
  const save = api.useMutation("patch", "/admin/v1/routes/{id}", {
    onSuccess: () => {
      changed();
      form.resetDirty();
      void navigate({ to: "/routes", search: { open: route.id }, ignoreBlocker: true });
    },
    onError: (error) => form.setErrors(fieldErrors(error)),
  });
  return (
    <FormPage
      title={route.name}
      purpose={t("editPurpose")}
      back={{ to: "/routes", name: t("title") }}
      submit={t("common:save")}
      error={save.error}
      saving={save.isPending}
      dirty={form.isDirty()}
      onReload={onReload}
      onSubmit={form.onSubmit((values) => {
        const { position, ...body } = routeBody(values);
        save.mutate({
          params: { path: { id: route.id }, header: ifMatch(route.version) },
          body: { ...body, ...(position === null ? {} : { position }) },
        });
      })}
      after={<RouteRetire route={route} />}
    >
      <RouteFields form={form} />
    </FormPage>
  );
}
