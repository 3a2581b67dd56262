import { Skeleton } from "@mantine/core";
import { useForm } from "@mantine/form";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { ifMatch, useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { fieldErrors } from "@/api/problem";
import type { ApiKey } from "@/api/types";
import { ErrorState } from "@/components/ErrorState";
import { FormPage } from "@/components/form/FormPage";
import { KeyFields } from "./KeyFields";
import { keyBody, keyRules, keyValues } from "./keyForm";

const route = getRouteApi("/app/keys/$id");

export function KeyEditPage() {
  const { id } = route.useParams();
  const key = api.useQuery(
    "get",
    "/admin/v1/api-keys/{id}",
    { params: { path: { id } } },
    { refetchOnWindowFocus: false },
  );
  if (key.error) return <ErrorState error={key.error} onRetry={() => void key.refetch()} />;
  if (!key.data) return <Skeleton height={420} maw={680} mx="auto" />;
  // A new version is a new form: what was typed against the old one must not be sent.
  return <KeyEdit key={key.data.version} apiKey={key.data} onReload={() => void key.refetch()} />;
}

function KeyEdit({ apiKey, onReload }: { apiKey: ApiKey; onReload: () => void }) {
  const { t } = useTranslation(["keys", "common"]);
  const navigate = useNavigate();
  const changed = useChanged("api-keys");
  const form = useForm({
    initialValues: keyValues(apiKey),
    validate: keyRules(t, apiKey),
    validateInputOnBlur: true,
  });
  const save = api.useMutation("patch", "/admin/v1/api-keys/{id}", {
    onSuccess: () => {
      changed();
      form.resetDirty();
      void navigate({ to: "/keys", search: { open: apiKey.id }, ignoreBlocker: true });
    },
    onError: (error) => form.setErrors(fieldErrors(error)),
  });
  return (
    <FormPage
      title={apiKey.name}
      purpose={t("editPurpose")}
      back={{ to: "/keys", name: t("title") }}
      submit={t("common:save")}
      error={save.error}
      saving={save.isPending}
      dirty={form.isDirty()}
      onReload={onReload}
      onSubmit={form.onSubmit((values) =>
        save.mutate({
          params: { path: { id: apiKey.id }, header: ifMatch(apiKey.version) },
          body: keyBody(values, apiKey),
        }),
      )}
    >
      <KeyFields form={form} tenantId={apiKey.tenant_id} />
    </FormPage>
  );
}
