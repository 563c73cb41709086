/** As the status of a pod has it that was ended by a shutdown of its machine. */
export const shutdownReason = 'Terminated';
