import { Button, Group, Modal, Stack } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useTranslation } from "react-i18next";
import { useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { fieldErrors } from "@/api/problem";
import type { Model, PriceVersion } from "@/api/types";
import { FormFailure } from "@/components/form/FormFailure";
import { Note } from "@/components/Meaning";
import { CataloguePick } from "./CataloguePick";
import { PriceFields } from "./PriceFields";
import { hasPrice, type PriceValues, priceBody, priceRules, priceValues } from "./priceForm";

interface Props {
  model: Model;
  latest: PriceVersion | null;
  opened: boolean;
  onClose: () => void;
}

export function NewPrice(props: Props) {
  const { t } = useTranslation("models");
  return (
    <Modal
      opened={props.opened}
      onClose={props.onClose}
      title={t("newPriceFor", { name: props.model.name })}
      size="lg"
    >
      <Fields {...props} />
    </Modal>
  );
}

/** Its own component, so that each opening starts from the latest price. */
function Fields({ model, latest, onClose }: Props) {
  const { t } = useTranslation(["models", "common"]);
  const changed = useChanged("models");
  const form = useForm<PriceValues>({
    initialValues: priceValues(latest),
    validateInputOnBlur: true,
    validate: {
      valid_from: (value) => (value && Date.parse(value) < Date.now() ? t("validFromRule") : null),
      prices: priceRules(t("priceRule")),
    },
  });
  const create = api.useMutation("post", "/admin/v1/models/{id}/prices", {
    onSuccess: () => {
      changed(t("priceCreated"));
      onClose();
    },
    onError: (error) => form.setErrors(fieldErrors(error)),
  });
  return (
    <form
      noValidate
      onSubmit={form.onSubmit((values) =>
        create.mutate({ params: { path: { id: model.id } }, body: priceBody(values) }),
      )}
    >
      <Stack gap="md">
        <Note tone="info">{t("priceNote")}</Note>
        <FormFailure error={create.error} />
        <CataloguePick
          onPick={(picked) => form.setValues({ ...picked, valid_from: form.values.valid_from })}
        />
        <PriceFields values={form.values} input={(field) => form.getInputProps(field)} />
        <Group gap="xs">
          <Button type="submit" loading={create.isPending} disabled={!hasPrice(form.values)}>
            {t("newPrice")}
          </Button>
          <Button variant="default" onClick={onClose}>
            {t("common:cancel")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
