import {
  Button,
  Group,
  Modal,
  PasswordInput,
  Select,
  Stack,
  Switch,
  TextInput,
} from "@mantine/core";
import { useForm } from "@mantine/form";
import { useTranslation } from "react-i18next";
import { ifMatch, useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { useTenants } from "@/api/lists";
import { fieldErrors } from "@/api/problem";
import { useSession } from "@/api/session";
import type { Role, User } from "@/api/types";
import { FormFailure } from "@/components/form/FormFailure";
import { isOfTenant, rolesToGive } from "./roles";

const MIN_PASSWORD_CHARS = 15;
const HELP_UNDER: ("label" | "input" | "description" | "error")[] = [
  "label",
  "input",
  "description",
  "error",
];

/** Adds a person, or changes one. */
export function PersonForm({
  person,
  tenant,
  onClose,
}: {
  person?: User | undefined;
  /** Of whom a new person is, at first. */
  tenant?: string | undefined;
  onClose: () => void;
}) {
  const { t } = useTranslation(["people", "common"]);
  const session = useSession();
  const changed = useChanged("users");
  const staff = session.tenant === null;
  const tenants = useTenants(staff && !person);
  const isSelf = person?.id === session.id;
  // Staff stays staff, and people of a tenant stay that.
  const roles = rolesToGive(session).filter(
    (role) => !person || isOfTenant(role) === isOfTenant(person.role),
  );
  const form = useForm({
    initialValues: {
      email: person?.email ?? "",
      name: person?.name ?? "",
      role: person?.role ?? (tenant || !staff ? "tenant_member" : ("ops" as Role)),
      tenant_id: session.tenant?.id ?? tenant ?? "",
      password: "",
      active: person ? person.status === "active" : true,
    },
    validateInputOnBlur: true,
    validate: {
      email: (value) => (value.trim() ? null : t("emailNeeded")),
      name: (value) => (value.trim() ? null : t("common:nameNeeded")),
      tenant_id: (value, { role }) =>
        person || value || !isOfTenant(role) ? null : t("tenantNeeded"),
      password: (value) =>
        (person && value === "") || [...value].length >= MIN_PASSWORD_CHARS
          ? null
          : t("passwordRule"),
    },
  });
  const done = {
    onSuccess: ({ name }: User) => {
      onClose();
      changed(person ? undefined : t("added", { name }));
    },
    onError: (error: unknown) => form.setErrors(fieldErrors(error)),
  };
  const create = api.useMutation("post", "/admin/v1/users", done);
  const update = api.useMutation("patch", "/admin/v1/users/{id}", done);
  const save = form.onSubmit(({ email, name, role, tenant_id, password, active }) => {
    if (person) {
      update.mutate({
        params: { path: { id: person.id }, header: ifMatch(person.version) },
        body: {
          name: name.trim(),
          ...(isSelf ? {} : { role, status: active ? "active" : "disabled" }),
          ...(password ? { password } : {}),
        },
      });
    } else {
      const of = isOfTenant(role) ? { tenant_id } : {};
      create.mutate({ body: { email: email.trim(), name: name.trim(), role, password, ...of } });
    }
  });
  const { role } = form.values;
  return (
    <Modal
      opened
      onClose={onClose}
      title={person ? t("edit", { name: person.name }) : t("add")}
      size="md"
    >
      <form noValidate onSubmit={save}>
        <Stack gap="md">
          <FormFailure error={create.error ?? update.error} />
          {person ? null : (
            <TextInput
              data-autofocus
              type="email"
              label={t("email")}
              autoComplete="off"
              {...form.getInputProps("email")}
            />
          )}
          <TextInput label={t("common:name")} autoComplete="off" {...form.getInputProps("name")} />
          {isSelf ? null : (
            <Select
              label={t("role")}
              description={t(`roleHelp.${role}`)}
              inputWrapperOrder={HELP_UNDER}
              data={roles.map((value) => ({ value, label: t(`common:role.${value}`) }))}
              allowDeselect={false}
              {...form.getInputProps("role")}
            />
          )}
          {staff && !person && isOfTenant(role) ? (
            <Select
              label={t("tenant")}
              data={tenants.data?.data.map(({ id, name }) => ({ value: id, label: name })) ?? []}
              searchable
              allowDeselect={false}
              {...form.getInputProps("tenant_id")}
            />
          ) : null}
          <PasswordInput
            label={t(person ? "newPassword" : "password")}
            description={t(person ? "newPasswordHelp" : "passwordHelp")}
            inputWrapperOrder={HELP_UNDER}
            autoComplete="new-password"
            {...form.getInputProps("password")}
          />
          {person && !isSelf ? (
            <Switch
              label={t("active")}
              description={t("activeHelp")}
              {...form.getInputProps("active", { type: "checkbox" })}
            />
          ) : null}
          <Group gap="xs">
            <Button type="submit" loading={create.isPending || update.isPending}>
              {t(person ? "common:save" : "add")}
            </Button>
            <Button variant="default" onClick={onClose}>
              {t("common:cancel")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
