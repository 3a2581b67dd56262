import { Switch, TagsInput, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { fieldErrors } from "@/api/problem";
import { useMay } from "@/api/session";
import { FormPage, FormSection } from "@/components/form/FormPage";
import { CataloguePick } from "./CataloguePick";
import { modelRules } from "./modelRules";
import { PriceFields } from "./PriceFields";
import { hasPrice, priceBody, priceRules, priceValues } from "./priceForm";
import { newTarget, TargetFields, targetBody } from "./TargetFields";

export function ModelNewPage() {
  const { t } = useTranslation(["models", "common"]);
  const navigate = useNavigate();
  const changed = useChanged("models");
  const may = useMay();
  const form = useForm({
    initialValues: {
      name: "",
      aliases: [] as string[],
      strict: false,
      targets: [newTarget()],
      price: priceValues(null),
    },
    validateInputOnBlur: true,
    validate: { ...modelRules(t), price: { prices: priceRules(t("priceRule")) } },
  });
  const create = api.useMutation("post", "/admin/v1/models", {
    onSuccess: (model) => {
      changed(t("created", { name: model.name }));
      form.resetDirty();
      void navigate({ to: "/models", search: { open: model.id }, ignoreBlocker: true });
    },
    onError: (error) => form.setErrors(fieldErrors(error)),
  });
  return (
    <FormPage
      title={t("create")}
      purpose={t("createPurpose")}
      back={{ to: "/models", name: t("title") }}
      submit={t("create")}
      error={create.error}
      saving={create.isPending}
      dirty={form.isDirty()}
      onSubmit={form.onSubmit((values) =>
        create.mutate({
          body: {
            name: values.name.trim(),
            aliases: values.aliases,
            strict: values.strict,
            targets: targetBody(values.targets),
            price: hasPrice(values.price) ? priceBody(values.price) : null,
          },
        }),
      )}
    >
      <FormSection title={t("about")}>
        <TextInput
          label={t("publicName")}
          description={t("publicNameHelp")}
          inputWrapperOrder={["label", "input", "description", "error"]}
          placeholder="smart"
          autoComplete="off"
          spellCheck={false}
          {...form.getInputProps("name")}
        />
        <TagsInput
          label={t("aliases")}
          description={t("aliasesHelp")}
          inputWrapperOrder={["label", "input", "description", "error"]}
          placeholder="claude-smart"
          splitChars={[",", " "]}
          clearable
          {...form.getInputProps("aliases")}
        />
        <Switch
          label={t("strict")}
          description={t("strictHelp")}
          {...form.getInputProps("strict", { type: "checkbox" })}
        />
      </FormSection>
      <FormSection title={t("targets")} help={t("targetsHelp")}>
        <TargetFields
          targets={form.values.targets}
          input={(field) => form.getInputProps(field)}
          onAdd={() => form.insertListItem("targets", newTarget())}
          onRemove={(index) => form.removeListItem("targets", index)}
        />
      </FormSection>
      {may("prices.write") ? (
        <FormSection title={t("price")} help={t("priceHelp")}>
          <CataloguePick onPick={(price) => form.setFieldValue("price", price)} />
          <PriceFields
            values={form.values.price}
            input={(field) => form.getInputProps(`price.${field}`)}
          />
        </FormSection>
      ) : null}
    </FormPage>
  );
}
