import { Button, Stack, Text, TextInput } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { ifMatch, useChanged } from "@/api/changes";
import { api } from "@/api/client";
import type { Tenant } from "@/api/types";
import { ConfirmByName } from "@/components/ConfirmByName";
import { FormSection } from "@/components/form/FormPage";

/** Stops a tenant's traffic at once, with the words its callers will read; and lets it run again. */
export function SuspendSection({ tenant }: { tenant: Tenant }) {
  const { t } = useTranslation(["tenants", "common"]);
  const [asking, { open, close }] = useDisclosure(false);
  const [message, setMessage] = useState("");
  const changed = useChanged("tenants");
  const update = api.useMutation("patch", "/admin/v1/tenants/{id}", {
    onSuccess: (now) => {
      close();
      changed(t(now.status === "suspended" ? "suspendedDone" : "resumedDone", { name: now.name }));
    },
  });
  const params = { path: { id: tenant.id }, header: ifMatch(tenant.version) };

  if (tenant.status === "suspended") {
    return (
      <FormSection title={t("resume")} help={t("resumeHelp")}>
        <div>
          <Button
            variant="default"
            loading={update.isPending}
            onClick={() => update.mutate({ params, body: { status: "active" } })}
          >
            {t("resume")}
          </Button>
        </div>
      </FormSection>
    );
  }
  return (
    <FormSection title={t("suspend")} help={t("suspendHelp")}>
      <div>
        <Button variant="light" color="red" onClick={open}>
          {t("suspend")}
        </Button>
      </div>
      <ConfirmByName
        opened={asking}
        title={t("suspendAsk", { name: tenant.name })}
        name={tenant.name}
        act={t("suspend")}
        busy={update.isPending}
        error={update.error}
        onClose={close}
        onConfirm={() =>
          update.mutate({
            params,
            body: { status: "suspended", suspended_message: message.trim() || null },
          })
        }
      >
        <Stack gap="md">
          <Text fz="md">{t("suspendEffect")}</Text>
          <TextInput
            label={t("suspendMessage")}
            placeholder={t("suspendedDefault")}
            value={message}
            onChange={(event) => setMessage(event.currentTarget.value)}
          />
        </Stack>
      </ConfirmByName>
    </FormSection>
  );
}
