/* A PKCS#11 module that behaves badly: SoftHSM, but for one function.
 *
 * The file /run/bad-module says which, and how: "hang 60", "crash 60", "refuse 60" or "lie 60". The number is the function's
 * place in CK_FUNCTION_LIST (PKCS#11 2.40, pkcs11f.h), counted from 0. It is read once, when the module is loaded.
 */

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FUNCTIONS 68
#define CKR_OK 0UL
#define CKR_GENERAL_ERROR 5UL

/* A function's arguments are for its caller to clear away: one of ours can stand for any. */
typedef unsigned long (*function)(void);

struct function_list {
	unsigned char major, minor;
	function functions[FUNCTIONS];
};

static struct function_list list;

__attribute__((noreturn)) static unsigned long hang(void)
{
	for (;;)
		pause();
}

static unsigned long crash(void)
{
	abort();
}

static unsigned long refuse(void)
{
	return CKR_GENERAL_ERROR;
}

/* Claims to have done it. */
static unsigned long lie(void)
{
	return CKR_OK;
}

static function bad(const char *how)
{
	if (strcmp(how, "hang") == 0)
		return hang;
	if (strcmp(how, "crash") == 0)
		return crash;
	if (strcmp(how, "refuse") == 0)
		return refuse;
	return lie;
}

unsigned long C_GetFunctionList(struct function_list **to)
{
	unsigned long (*real)(struct function_list **);
	struct function_list *good;
	char how[16];
	int which;
	FILE *file;

	void *softhsm = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW);
	if (!softhsm)
		return CKR_GENERAL_ERROR;
	*(void **)&real = dlsym(softhsm, "C_GetFunctionList");
	if (!real || real(&good) != CKR_OK)
		return CKR_GENERAL_ERROR;
	list = *good;

	file = fopen("/run/bad-module", "r");
	if (!file)
		return CKR_GENERAL_ERROR;
	if (fscanf(file, "%15s %d", how, &which) == 2 && which >= 0 && which < FUNCTIONS)
		list.functions[which] = bad(how);
	fclose(file);
	*to = &list;
	return CKR_OK;
}
