import {
  Button,
  Checkbox,
  Group,
  NumberInput,
  Select,
  Stack,
  TagsInput,
  TextInput,
} from "@mantine/core";
import { useForm } from "@mantine/form";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import { useModels, useTenants } from "@/api/lists";
import { FormFailure } from "@/components/form/FormFailure";
import { Explained } from "./Explained";
import classes from "./Routes.module.css";

/** Asks the running gateway where a request would go; nothing is sent to any upstream. */
export function Explain() {
  const { t } = useTranslation("routes");
  const models = useModels().data?.data.map(({ name }) => name) ?? [];
  const tenants = useTenants().data?.data.map(({ name }) => name) ?? [];
  const ask = api.useMutation("post", "/admin/v1/routes/explain");
  const form = useForm({
    initialValues: {
      model: "",
      tenant: null as string | null,
      tags: [] as string[],
      input_tokens: "" as number | "",
      user: "",
      has_images: false,
      has_documents: false,
      has_tools: false,
    },
    validate: { model: (model) => (model ? null : t("explain.modelNeeded")) },
  });
  return (
    <section className={classes.section} aria-labelledby="explain">
      <h2 id="explain" className={classes.title}>
        {t("explain.title")}
      </h2>
      <p className={classes.help}>{t("explain.help")}</p>
      <div className={classes.explain}>
        <form
          className={classes.panel}
          noValidate
          onSubmit={form.onSubmit((values) =>
            ask.mutate({
              body: {
                ...values,
                input_tokens: values.input_tokens === "" ? null : values.input_tokens,
                user: values.user.trim() || null,
              },
            }),
          )}
        >
          <Stack gap="sm">
            <Select
              label={t("explain.model")}
              data={models}
              searchable
              {...form.getInputProps("model")}
            />
            <Select
              label={t("explain.tenant")}
              data={tenants}
              searchable
              clearable
              {...form.getInputProps("tenant")}
            />
            <TagsInput label={t("explain.tags")} clearable {...form.getInputProps("tags")} />
            <div className={classes.pair}>
              <NumberInput
                label={t("explain.tokens")}
                min={0}
                thousandSeparator=" "
                hideControls
                {...form.getInputProps("input_tokens")}
              />
              <TextInput
                label={t("explain.user")}
                autoComplete="off"
                {...form.getInputProps("user")}
              />
            </div>
            <Group gap="md">
              {(["has_images", "has_documents", "has_tools"] as const).map((field) => (
                <Checkbox
                  key={field}
                  label={t(`explain.${field}`)}
                  {...form.getInputProps(field, { type: "checkbox" })}
                />
              ))}
            </Group>
            <div>
              <Button type="submit" loading={ask.isPending}>
                {t("explain.ask")}
              </Button>
            </div>
          </Stack>
        </form>
        <div aria-live="polite">
          <FormFailure error={ask.error} />
          {ask.data ? (
            <Explained told={ask.data} />
          ) : ask.error ? null : (
            <p className={classes.waiting}>{t("explain.waiting")}</p>
          )}
        </div>
      </div>
    </section>
  );
}
