import { Group, Stack, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { useVersion } from "@/api/lists";
import type { ApiKeyWithSecret } from "@/api/types";
import { FormSection } from "@/components/form/FormPage";
import { ButtonLink } from "@/components/links";
import { PageHeader } from "@/components/PageHeader";
import { gatewayUrl, Snippets } from "@/components/Snippets";
import classes from "./NewKeyShown.module.css";
import { SecretShown } from "./SecretShown";

/** A new key, to be stored and tried at once. */
export function NewKeyShown({
  made,
  model,
}: {
  made: ApiKeyWithSecret;
  model: string | undefined;
}) {
  const { t } = useTranslation(["keys", "common"]);
  const version = useVersion();
  const base = version.data?.api_url ?? gatewayUrl();
  return (
    <div className={classes.page}>
      <PageHeader title={t("shown.title", { name: made.name })} purpose={t("shown.purpose")} />
      <Stack gap="lg">
        <SecretShown made={made} />
        <FormSection title={t("shown.try")} help={t("shown.tryHelp", { base })}>
          <Snippets secret={made.secret} model={model} base={base} />
        </FormSection>
        <Group>
          <ButtonLink to="/keys" variant="default">
            {t("shown.done")}
          </ButtonLink>
          <Text fz="sm" c="dimmed">
            {t("shown.doneHelp")}
          </Text>
        </Group>
      </Stack>
    </div>
  );
}
