MAX_VALUE=40
def digit_terms(values, slots): raise NotImplementedError
def fewest_slots(values): raise NotImplementedError
def term_code(t): raise NotImplementedError
def slot_constant(t): raise NotImplementedError
