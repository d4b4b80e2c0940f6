"""Rule functions that leave the language. The line that is refused ends in `# here`."""

# ruff: noqa
from functools import wraps

BETA = 0.9


def a_for_loop(p, g, lr):
    for i in g:  # here
        p = p - lr * i
    return p


def a_while_loop(p, g, lr):
    while p:  # here
        p = p - lr * g
    return p


def an_if(p, g, lr):
    if g > p:  # here
        p = p - lr * g
    return p


def an_inline_if(p, g, lr):
    p = p - lr if g > p else p  # here
    return p


def an_augmented_assignment(p, g, lr):
    p -= lr * g  # here
    return p


def an_annotated_assignment(p, g, lr):
    p: float = p - lr * g  # here
    return p


def an_attribute(p, g, lr):
    p = p - lr * g.real  # here
    return p


def a_call_of_an_attribute(p, g, lr):
    p = p - lr * np.sign(g)  # here
    return p


def a_subscript(p, g, lr):
    p = p - lr * g[0]  # here
    return p


def a_number_in_the_update(p, g, lr):
    p = p - 0.5 * lr * g  # here
    return p


def a_whole_number_in_the_update(p, g, lr):
    p = p - 2 * lr * g  # here
    return p


def a_power_in_the_update(p, g, lr):
    p = p - lr * pow(g, g)  # here
    return p


def a_division_sign(p, g, lr):
    p = p - lr * g / p  # here
    return p


def a_floor_division(p, g, lr):
    p = p - g // lr  # here
    return p


def a_remainder(p, g, lr):
    p = p - g % lr  # here
    return p


def a_power_sign(p, g, lr):
    p = p - lr * g**g  # here
    return p


def a_matrix_product(p, g, lr):
    p = p - g @ lr  # here
    return p


def a_global_name(p, g, lr):
    p = p - BETA * lr * g  # here
    return p


def a_default_argument(p, g, lr=0.1):  # here
    return p - lr * g


def starred_arguments(p, g, *lr):  # here
    return p


def named_arguments(p, g, **lr):  # here
    return p


def an_argument_by_name_only(p, g, *, lr):  # here
    return p - lr * g


def an_argument_named_like_a_primitive(p, g, sign):  # here
    return p - sign * g


def a_call_by_keyword(p, g, lr):
    p = p - lr * sqrt(a=g)  # here
    return p


def a_starred_call(p, g, lr):
    p = p - lr * sqrt(*g)  # here
    return p


def an_inner_lambda(p, g, lr):
    f = lambda x: x  # here
    return p


def an_unknown_primitive(p, g, lr):
    p = p - lr * exp(g)  # here
    return p


def a_builtin(p, g, lr):
    p = p - lr * abs(g)  # here
    return p


def too_few_arguments(p, g, lr):
    p = p - lr * div(g)  # here
    return p


def too_many_arguments(p, g, lr):
    p = p - lr * sqrt(g, g)  # here
    return p


def two_targets(p, g, lr):
    p, g = p - lr * g, g  # here
    return p


def two_names_of_one_value(p, g, lr):
    p = q = p - lr * g  # here
    return p


def a_walrus(p, g, lr):
    p = (q := p - lr * g)  # here
    return p


def a_chained_comparison(p, g, lr):
    p = where(p < g < lr, p, g)  # here
    return p


def an_equality(p, g, lr):
    p = where(p == g, p, g)  # here
    return p


def an_and(p, g, lr):
    p = where(p < g and g < lr, p, g)  # here
    return p


def an_or(p, g, lr):
    p = where(p < g or g < lr, p, g)  # here
    return p


def a_not(p, g, lr):
    p = where(not p < g, p, g)  # here
    return p


def no_return(p, g, lr):
    p = p - lr * g  # here


def an_empty_return(p, g, lr):
    return  # here


def an_early_return(p, g, lr):
    return p  # here
    p = p - lr * g
    return p


def an_inner_function(p, g, lr):
    def f(x):  # here
        return x

    return f(p)


def a_string(p, g, lr):
    p = p - lr * "g"  # here
    return p


def a_none(p, g, lr):
    p = None  # here
    return p


def a_list(p, g, lr):
    return [p, g]  # here


def an_assertion(p, g, lr):
    assert g > p  # here
    return p


def an_import(p, g, lr):
    import math  # here

    return p


def a_with(p, g, lr):
    with g:  # here
        p = p - lr * g
    return p


def a_try(p, g, lr):
    try:  # here
        p = p - lr * g
    finally:
        p = p
    return p


def an_unpacked_state(p, g, lr):
    p = p + unknown  # here
    return p


def a_comprehension(p, g, lr):
    p = sum(x for x in g)  # here
    return p


async def a_coroutine(p, g, lr):  # here
    return p


def doubled(function):
    @wraps(function)
    def other(*args):
        return 2 * function(*args)

    return other


@doubled
def a_decorated_function(p, g, lr):  # here
    return p - lr * g


a_lambda = lambda p, g, lr: p - lr * g  # here
